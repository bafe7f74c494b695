module sticky-ab

go 1.22
