package docker

// A line is one of the table: something that a user does.
type line struct {
	what string // in Markdown
	run  func(r runner) (outcome string)
	// linux is the outcome on runc, and wasm that of a Wasm guest where it is
	// another one, for the reason why.
	linux, wasm, why string
}

// lines are all, by their subject.
func lines() (all []line) {
	for _, some := range [][]line{running, configuration, networks, files, streams, limits, ends, management} {
		all = append(all, some...)
	}
	return all
}
