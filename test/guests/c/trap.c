// Traps in the way that its argument names. The functions stay out of line so
// that a stack trace shows them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_OF_LINE __attribute__((noinline))

OUT_OF_LINE static int divide(int a, int b) { return a / b; }

OUT_OF_LINE static void unreachable(void) { __builtin_trap(); }

OUT_OF_LINE static int out_of_bounds(volatile char *p) { return *p; }

OUT_OF_LINE static int recurse(volatile int *depth) {
	int here = ++*depth;
	if (here < 0)
		return 0; // never: the stack ends long before the numbers do
	return recurse(depth) + here;
}

int main(int argc, char **argv) {
	const char *how = argc > 1 ? argv[1] : "";
	volatile int zero = 0;
	if (!strcmp(how, "divide"))
		return divide(1, zero);
	if (!strcmp(how, "unreachable"))
		unreachable();
	if (!strcmp(how, "bounds"))
		return out_of_bounds((char *)0xfffffff0u);
	if (!strcmp(how, "recursion"))
		return recurse(&zero);
	if (!strcmp(how, "abort"))
		abort();
	fputs("usage: trap divide|unreachable|bounds|recursion|abort\n", stderr);
	return 2;
}
