package main

// A row of the table: what is asked of a containerd, the calls of the Task API
// that it comes down to, and the end-to-end tests that ask for it. All of them
// look for leftovers at their end, and so does the last row for those that had
// trouble on the way.
type row struct {
	what  string
	calls string
	tests []string
}

var rows = []row{
	{"run: output, arguments, environment, exit codes", "Create, Start, Wait, Delete",
		[]string{"TestHello", "TestArguments", "TestEnvironment", "TestExitCodes"}},
	{"errors reach the user", "Create",
		[]string{"TestCreateErrors", "TestTraps"}},
	{"stdin to stdout, 100 MB", "CloseIO",
		[]string{"TestStdio", "TestStderr"}},
	{"a created task", "State, Pids, Delete",
		[]string{"TestCreatedTask", "TestDeleteCreated", "TestWrongTime"}},
	{"signals", "Kill",
		[]string{"TestSignals"}},
	{"limits", "Update, Stats",
		[]string{"TestMemoryLimit", "TestOutOfMemory", "TestPidsLimit", "TestUpdate"}},
	{"freeze", "Pause, Resume",
		[]string{"TestFreeze", "TestKillFrozen"}},
	{"events in order", "",
		[]string{"TestEvents"}},
	{"several containers in a pod", "Shutdown",
		[]string{"TestPod"}},
	{"SIGKILL of the shim", "",
		[]string{"TestShimDies"}},
}
