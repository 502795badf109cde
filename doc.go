// Package mintmark is the root of the house and holds no code. Its tests keep
// the house in the shape of docs/architecture.md: which room may import which,
// how large a function, a file or a port may grow, and what has to be handed in.
package mintmark
