// Says of each standard stream whether it is a terminal, then copies what it is
// told, line by line, until "quit".
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
	printf("terminals: %d %d %d\n", isatty(0), isatty(1), isatty(2));
	fflush(stdout);
	char line[256];
	while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
		printf("told %s", line);
		fflush(stdout);
	}
	return 0;
}
