package main

// A row of the table: what is asked of a containerd, the calls of the Task API
// that it comes down to, and the end-to-end tests that ask for it, by ctr and
// by containerd's client. Each of them fails if anything is left behind.
type row struct {
	what  string
	calls string
	tests []string
}

var rows = []row{
	{"run: output, arguments, environment, exit codes", "Create, Start, Wait, Delete",
		[]string{"TestHello", "TestArguments", "TestEnvironment", "TestExitCodes", "TestClientStart", "TestClientWait", "TestClientShortRun", "TestShortRuns"}},
	{"errors of a module or a spec", "Create",
		[]string{"TestCreateErrors", "TestTraps", "TestClientNoProgram"}},
	{"states", "State, Pids, Connect",
		[]string{"TestCreatedTask", "TestDeleteCreated", "TestWrongTime", "TestClientForcedDelete"}},
	{"stdin, stdout, stderr; attach", "CloseIO",
		[]string{"TestStdio", "TestStderr", "TestNullIO", "TestClientCloseIO", "TestClientNoStdin", "TestClientAttach", "TestStalledReaders"}},
	{"logs to a file and to a program", "Create",
		[]string{"TestLogFile", "TestLogProgram"}},
	{"exec", "Exec, Pids",
		[]string{"TestExec", "TestExecErrors", "TestExecEvents", "TestClientExec", "TestClientExecNotStarted", "TestClientExecInitEnds", "TestClientPids"}},
	{"terminals", "ResizePty",
		[]string{"TestTerminal", "TestTerminalSize", "TestTerminalInterrupt", "TestClientTerminal", "TestClientResize"}},
	{"signals", "Kill",
		[]string{"TestSignals", "TestClientKill", "TestClientKillAll", "TestClientKilledBeforeStart"}},
	{"limits and usage", "Update, Stats",
		[]string{"TestMemoryLimit", "TestOutOfMemory", "TestPidsLimit", "TestUpdate", "TestClientUpdate", "TestClientMetrics"}},
	{"freeze", "Pause, Resume",
		[]string{"TestFreeze", "TestKillFrozen", "TestExecInAPausedContainer"}},
	{"events, in order", "",
		[]string{"TestEvents"}},
	{"user namespaces", "Create",
		[]string{"TestClientUserNamespace"}},
	{"containers of a pod in one shim", "Shutdown",
		[]string{"TestPod"}},
	{"containerd restarts or is killed", "Connect, Pids, State",
		[]string{"TestClientRestart", "TestDaemonKilled", "TestLogAfterRestart"}},
	{"the shim is killed", "",
		[]string{"TestShimDies", "TestShimKilled", "TestShimOfPodKilled"}},
	{"the disk is full", "Create",
		[]string{"TestDiskFull"}},
}
