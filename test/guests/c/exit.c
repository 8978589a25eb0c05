// Exits with the code that its argument names.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
	if (argc != 2) {
		fputs("usage: exit CODE\n", stderr);
		return 2;
	}
	exit(atoi(argv[1]));
}
