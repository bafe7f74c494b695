module mirrored

go 1.22
