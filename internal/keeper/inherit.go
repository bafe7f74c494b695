package keeper

import "net"

// Inherited is what a child got from the keeper.
type Inherited struct{}

// Inherit takes over what the keeper passed to this process. A child calls it
// once, at its start. It also makes the process survive a broken stderr.
//
//	in, err := keeper.Inherit()
//	http := in.Listeners("http")
//	… serve …
//	in.Ready()
//	<-in.Gone() // the controller ends then
func Inherit() (*Inherited, error) { return nil, nil }

// Listeners returns the listeners of the given name, nil if there are none.
func (in *Inherited) Listeners(name string) []net.Listener { return nil }

// Ready tells the keeper that this process serves.
func (in *Inherited) Ready() error { return nil }

// Gone is closed when the keeper is gone and this child should end. It is
// never closed for a child that survives its keeper.
func (in *Inherited) Gone() <-chan struct{} { return nil }

// Close ends the conversation with the keeper and closes the listeners.
func (in *Inherited) Close() error { return nil }
