module flaky

go 1.24
