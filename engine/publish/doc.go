// Package publish turns what a container publishes, as Docker's API words it,
// into listeners to be made. It is pure: it binds nothing.
//
//	PortBindings {"80/tcp": [{"", "8000-8010"}]}     Request{tcp, 80, [0.0.0.0 ::], 8000, 8010}
//	ExposedPorts {"53/udp"}, PublishAllPorts   -->   Request{udp, 53, [0.0.0.0 ::], 0, 0}
//	                                                        |
//	                                 the engine: DataPlane.Publish
//
// What a container publishes can be had with more and without some of it
// ([Options.With], [Options.Without]): that is what the commands publish and
// unpublish do.
//
// # Lifetime and Concurrency
//
// Functions of their arguments only: nothing is to close, nothing is shared.
package publish
