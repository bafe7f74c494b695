module hello-binary

go 1.22
