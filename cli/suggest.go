package cli

// nearest returns the name that is most like s, or "" if none comes close:
// up to a third of the letters may be wrong, one at least.
func nearest(s string, names []string) string {
	best, bestDistance := "", max(1, len(s)/3)+1
	for _, n := range names {
		if len(s) < 2 && len(n) > 2 {
			continue // one letter is like everything
		}
		if d := distance(s, n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	return best
}

// distance counts the letters to insert, drop, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
