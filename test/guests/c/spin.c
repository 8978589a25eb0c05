// Computes for ever, with no call that the host could see.
#include <stdio.h>

int main(void) {
	puts("spinning");
	fflush(stdout);
	for (volatile unsigned long n = 0;; n++)
		;
}
