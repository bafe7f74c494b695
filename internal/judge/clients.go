package judge

// clientsKept is how many clients one generation of Clients holds.
const clientsKept = 1 << 15

// Clients remembers which clients have failed, within a bound: when one
// generation is full, the one before it is forgotten. A client that was
// forgotten may count again, which costs power only.
type Clients struct {
	limit    int
	now, old *generation
}

// NewClients returns a set that remembers between limit and twice as many
// clients. It takes all its memory at once: 32 bytes for each, rounded up to a
// power of two.
func NewClients(limit int) *Clients {
	return &Clients{limit: max(limit, 1), now: newGeneration(limit), old: newGeneration(limit)}
}

// First reports whether it sees the client for the first time.
func (c *Clients) First(client uint64) bool {
	client = max(client, 1) // zero marks an empty place
	if c.now.has(client) {
		return false
	}
	seen := c.old.has(client)
	if c.now.count >= c.limit {
		c.old, c.now = c.now, c.old
		c.now.clear()
	}
	c.now.add(client)
	return !seen
}

// Forget forgets all clients.
func (c *Clients) Forget() {
	c.now.clear()
	c.old.clear()
}

// markedSalt makes a client whose answers are marked another one than the
// same client whose requests fail: a stream forgets nothing for the other.
const markedSalt = 0xD1B54A32D192ED03

// count returns how many clients of each version failed for the first time.
// Failures of another kind have another salt.
func (c *Clients) count(bad []BadClient, salt uint64) (stable, candidate uint64) {
	for _, b := range bad {
		switch {
		case !c.First(b.Client ^ salt):
		case b.Candidate:
			candidate++
		default:
			stable++
		}
	}
	return stable, candidate
}

// generation is a hash table of fixed size, at most half full.
type generation struct {
	places []uint64
	count  int
}

func newGeneration(limit int) *generation {
	n := 2
	for n < 2*limit {
		n *= 2
	}
	return &generation{places: make([]uint64, n)}
}

// find returns the place of the client, or the empty one where it belongs.
func (g *generation) find(client uint64) int {
	mask := len(g.places) - 1
	i := int(client*0x9E3779B97F4A7C15>>32) & mask
	for g.places[i] != 0 && g.places[i] != client {
		i = (i + 1) & mask
	}
	return i
}

func (g *generation) has(client uint64) bool { return g.places[g.find(client)] != 0 }

func (g *generation) add(client uint64) {
	g.places[g.find(client)] = client
	g.count++
}

func (g *generation) clear() {
	if g.count > 0 {
		clear(g.places)
		g.count = 0
	}
}
