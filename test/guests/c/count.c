// Writes numbered lines, one write each, and pauses between them. After the
// last it exits with the code; with no last line, -1, it writes for ever.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
	if (argc != 4) {
		fputs("usage: count LINES MICROSECONDS CODE\n", stderr);
		return 2;
	}
	long lines = atol(argv[1]), pause = atol(argv[2]);
	struct timespec t = {.tv_sec = pause / 1000000, .tv_nsec = pause % 1000000 * 1000};
	for (long i = 0; i != lines; i++) {
		printf("%ld\n", i);
		fflush(stdout);
		if (pause > 0)
			nanosleep(&t, NULL);
	}
	exit(atoi(argv[3]));
}
