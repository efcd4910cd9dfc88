/* Looks at every frame that comes into a namespace, faster than Python could: is anything of the inside readable in it,
 * and does any ESP number come twice under its SA? `wan_watch MARKER`, in the namespace; MARKER is what payloads
 * repeat, inner addresses are 10.81.0.0/16 and 10.82.0.0/16. Each line on standard input is answered by one line of
 * JSON; the end of it ends the watch. What the kernel could not hand over is counted too: any, and the rest proves
 * nothing. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BLOCK = 1 << 20,
    BLOCKS = 256,
    RETIRE_MS = 20,
    SAS = 64,
    ETH = 14,
    IP_MIN = 20,
    ESP = 50,
    UDP = 17,
    NATT = 4500
};
enum { BITMAP = 1 << 29 }; /* bytes: one bit for each 32-bit number; only what is touched takes memory */

struct sa {
    uint32_t spi, dst;
    uint64_t frames;
    uint8_t *seen;
};

static struct sa sas[SAS];
static uint64_t frames, readable, repeated, dropped, first_readable;
static const char *marker;

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static bool is_inner(const uint8_t *addr)
{
    return addr[0] == 10 && (addr[1] == 81 || addr[1] == 82);
}

/* An IPv4 header between inner hosts. */
static bool is_inner_packet(const uint8_t *ip, const uint8_t *end)
{
    return ip + IP_MIN <= end && ip[0] == 0x45 && is_inner(ip + 12) && is_inner(ip + 16);
}

static void count_esp(const uint8_t *esp, uint32_t dst)
{
    uint32_t spi = get32(esp), seq = get32(esp + 4), i = 0;
    while (i < SAS && sas[i].seen && (sas[i].spi != spi || sas[i].dst != dst))
        i++;
    if (i == SAS) {
        fprintf(stderr, "wan_watch: more than %d SAs\n", SAS);
        exit(1);
    }
    struct sa *sa = &sas[i];
    if (!sa->seen) {
        sa->spi = spi;
        sa->dst = dst;
        sa->seen = mmap(NULL, BITMAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (sa->seen == MAP_FAILED) {
            perror("wan_watch: mmap");
            exit(1);
        }
    }
    repeated += sa->seen[seq / 8] >> seq % 8 & 1;
    sa->seen[seq / 8] |= (uint8_t)(1 << seq % 8);
    sa->frames++;
}

static bool look(const uint8_t *frame, uint32_t len)
{
    const uint8_t *ip = frame + ETH, *end = frame + len;
    bool found = memmem(frame, len, marker, strlen(marker)) != NULL;
    if (len < ETH + IP_MIN || frame[12] != 8 || frame[13] != 0)
        return found;
    found |= is_inner_packet(ip, end);
    const uint8_t *esp = ip + (ip[0] & 15) * 4;
    if (ip[9] == UDP && esp + 16 <= end && (uint32_t)esp[2] * 256 + esp[3] == NATT && get32(esp + 8))
        esp += 8;
    else if (ip[9] != ESP)
        return found;
    if (esp + 8 > end)
        return found;
    count_esp(esp, get32(ip + 16));
    for (uint32_t iv = 0; iv <= 16; iv += 8) /* headers in place, and nothing sealed */
        found |= is_inner_packet(esp + 8 + iv, end);
    return found;
}

static void take_block(struct tpacket_block_desc *block)
{
    uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
    for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
        const struct tpacket3_hdr *head = (const struct tpacket3_hdr *)at;
        frames++;
        if (look(at + head->tp_mac, head->tp_snaplen) && !readable++)
            first_readable = frames;
        at += head->tp_next_offset;
    }
}

static void report(int fd)
{
    struct tpacket_stats_v3 stats;
    socklen_t size = sizeof stats;
    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
        dropped += stats.tp_drops;
    printf(
        "{\"frames\": %lu, \"readable\": %lu, \"first_readable\": %lu, \"repeated\": %lu, \"dropped\": %lu, \"sas\": [",
        frames, readable, first_readable, repeated, dropped);
    for (uint32_t i = 0; i < SAS && sas[i].seen; i++)
        printf("%s%lu", i ? ", " : "", sas[i].frames);
    printf("]}\n");
    fflush(stdout);
}

static uint8_t *open_ring(int *fd)
{
    int version = TPACKET_V3, one = 1;
    struct tpacket_req3 ring = {.tp_block_size = BLOCK, .tp_block_nr = BLOCKS, .tp_frame_size = 2048};
    ring.tp_frame_nr = BLOCK / 2048 * BLOCKS;
    ring.tp_retire_blk_tov = RETIRE_MS;
    *fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    if (*fd < 0 || setsockopt(*fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
        setsockopt(*fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ||
        setsockopt(*fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring))
        return NULL;
    void *map = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

int main(int argc, char **argv)
{
    int fd;
    uint8_t *ring = argc == 2 ? open_ring(&fd) : NULL;
    if (!ring) {
        perror("wan_watch: a packet socket with a ring");
        return 1;
    }
    setpriority(PRIO_PROCESS, 0, -19); /* both cores are busy, and whoever looks must not blink */
    marker = argv[1];
    printf("{\"frames\": 0}\n"); /* it looks from now on */
    fflush(stdout);
    struct pollfd watched[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    for (uint32_t next = 0;;) {
        struct tpacket_block_desc *block = (struct tpacket_block_desc *)(ring + (size_t)next * BLOCK);
        bool ready = __atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
        if (ready) {
            take_block(block);
            __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
            next = (next + 1) % BLOCKS;
        }
        char line[64];
        if (poll(watched, 2, ready ? 0 : -1) > 0 && watched[1].revents) {
            if (read(0, line, sizeof line) <= 0)
                return 0;
            report(fd);
        }
    }
}
