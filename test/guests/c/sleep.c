// Sleeps as many milliseconds as its argument says.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
	if (argc != 2) {
		fputs("usage: sleep MILLISECONDS\n", stderr);
		return 2;
	}
	long ms = atol(argv[1]);
	puts("sleeping");
	fflush(stdout);
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&t, NULL);
	puts("awake");
	return 0;
}
