module canary-gone-wrong

go 1.22
