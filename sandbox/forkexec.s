// Empty: it lets forkexec.go declare functions without bodies.
