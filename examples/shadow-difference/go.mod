module shadow-difference

go 1.22
