/* Numbered datagrams at a steady rate, and what became of them at the other end.
 *
 * seqflow send ADDRESS PORT SOURCE RATE SECONDS      writes "sent N refused N" at its end or SIGTERM
 * seqflow receive ADDRESS PORT SECONDS               counts until nothing comes for a second, or SECONDS; writes
 *                                                    "received N duplicated N reordered N highest N" */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, PAYLOAD = 64, RATE_MAX = 500000, SECONDS_MAX = 900, BUFFER = 64 << 20, QUIET_MS = 1000 };
static const uint64_t NUMBERS_MAX = 1ULL << 29; /* one bit each: 64 MiB */

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void wait_until(double when)
{
    struct timespec at = {.tv_sec = (time_t)when, .tv_nsec = (long)((when - (double)(time_t)when) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static int bound(const char *address, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1 || made < 0 ||
        bind(made, (struct sockaddr *)&at, sizeof(at)) != 0)
        return -1;
    setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    setsockopt(made, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    return made;
}

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* A late start of a batch is caught up: the rate is that of the whole run. */
static int send_all(int out, struct sockaddr_in *to, uint64_t rate, uint64_t seconds)
{
    static uint8_t payloads[BATCH][PAYLOAD];
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){payloads[i], PAYLOAD};
        headers[i].msg_hdr =
            (struct msghdr){.msg_name = to, .msg_namelen = sizeof(*to), .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    uint64_t wanted = rate * seconds, next = 0, refused = 0;
    double start = now();
    while (next < wanted && !stopped) {
        unsigned count = wanted - next < BATCH ? (unsigned)(wanted - next) : BATCH, done = 0;
        for (unsigned i = 0; i < count; i++)
            memcpy(payloads[i], &(uint64_t){next + i}, sizeof(uint64_t));
        wait_until(start + (double)next / (double)rate);
        while (done < count) {
            int taken = sendmmsg(out, headers + done, count - done, 0);
            if (taken < 0 && errno != EINTR)
                refused++, done++;
            else if (taken > 0)
                done += (unsigned)taken;
        }
        next += count;
    }
    printf("sent %llu refused %llu\n", (unsigned long long)(next - refused), (unsigned long long)refused);
    return 0;
}

struct tally {
    uint8_t *seen;
    uint64_t received, duplicated, reordered, highest;
};

static void count_one(struct tally *tally, uint64_t number)
{
    if (number >= NUMBERS_MAX)
        return;
    if (tally->seen[number / 8] & (1 << number % 8)) {
        tally->duplicated++;
        return;
    }
    tally->seen[number / 8] |= (uint8_t)(1 << number % 8);
    tally->reordered += tally->received > 0 && number < tally->highest;
    tally->highest = number > tally->highest ? number : tally->highest;
    tally->received++;
}

static int receive_all(int in, double seconds)
{
    static uint8_t payloads[BATCH][PAYLOAD];
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    struct tally tally = {.seen = calloc(NUMBERS_MAX / 8, 1)};
    if (tally.seen == NULL)
        return 1;
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){payloads[i], PAYLOAD};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    double end = now() + seconds;
    struct pollfd ready = {.fd = in, .events = POLLIN};
    printf("ready\n");
    fflush(stdout);
    while (now() < end) {
        if (poll(&ready, 1, QUIET_MS) == 0) {
            if (tally.received)
                break;
            continue;
        }
        int count = recvmmsg(in, headers, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < count; i++) {
            uint64_t number;
            memcpy(&number, payloads[i], sizeof(number));
            if (headers[i].msg_len == PAYLOAD)
                count_one(&tally, number);
        }
    }
    printf("received %llu duplicated %llu reordered %llu highest %llu\n", (unsigned long long)tally.received,
           (unsigned long long)tally.duplicated, (unsigned long long)tally.reordered,
           (unsigned long long)tally.highest);
    free(tally.seen);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: seqflow send ADDRESS PORT SOURCE RATE SECONDS | seqflow receive ADDRESS PORT SECONDS\n");
    return 2;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "receive") == 0) {
        int in = bound(argv[2], argv[3]);
        return in < 0 ? usage() : receive_all(in, strtod(argv[4], NULL));
    }
    if (argc != 7 || strcmp(argv[1], "send") != 0)
        return usage();
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10))};
    uint64_t rate = strtoull(argv[5], NULL, 10), seconds = strtoull(argv[6], NULL, 10);
    signal(SIGTERM, stop);
    int out = bound(argv[4], "0");
    if (out < 0 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || rate < 1 || rate > RATE_MAX || seconds < 1 ||
        seconds > SECONDS_MAX || rate * seconds > NUMBERS_MAX)
        return usage();
    return send_all(out, &to, rate, seconds);
}
