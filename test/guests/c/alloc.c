// Allocates as many MiB as its argument says, in steps of 1 MiB, and touches
// every page. With a second argument it then waits that many seconds.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096 };

int main(int argc, char **argv) {
	if (argc < 2) {
		fputs("usage: alloc MIB [SECONDS]\n", stderr);
		return 2;
	}
	int wanted = atoi(argv[1]);
	for (int have = 0; have < wanted; have++) {
		volatile char *block = malloc(MIB);
		if (!block) {
			printf("allocation failed at %d MiB\n", have);
			return 1;
		}
		for (int i = 0; i < MIB; i += PAGE)
			block[i] = 1;
		if ((have + 1) % 16 == 0) {
			printf("%d MiB\n", have + 1);
			fflush(stdout);
		}
	}
	printf("allocated %d MiB\n", wanted);
	fflush(stdout);
	if (argc > 2)
		sleep(atoi(argv[2]));
	return 0;
}
