// Copies the standard input to the standard output.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 20];

int main(void) {
	for (;;) {
		ssize_t n = read(0, buffer, sizeof buffer);
		if (n == 0)
			return 0;
		if (n < 0) {
			fprintf(stderr, "cat: read: %s\n", strerror(errno));
			return 1;
		}
		for (ssize_t done = 0; done < n;) {
			ssize_t m = write(1, buffer + done, n - done);
			if (m < 0) {
				fprintf(stderr, "cat: write: %s\n", strerror(errno));
				return 1;
			}
			done += m;
		}
	}
}
