// A reactor: no main, functions for the host to call.
#include <stdio.h>

static int initialised;

__attribute__((constructor)) static void initialise(void) { initialised = 1; }

__attribute__((export_name("run"))) void run(void) {
	printf("run: %s\n", initialised ? "initialised" : "not initialised");
	fflush(stdout);
}

__attribute__((export_name("seven"))) int seven(void) { return 7; }

__attribute__((export_name("add"))) int add(int a, int b) { return a + b; }
