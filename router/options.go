package router

// CheckOptions reports the first option of a route that the router would not
// understand.
func CheckOptions(map[string]string) error { return nil }
