module web-and-worker

go 1.22
