/* A gateway on memory ports for the tests of the packet path, and ESP built by hand over libcrypto (RFC 4303, 4106,
 * 3602, 4868): the oracle shares no line with the core. Port 0 is outside, port 1 inside. */
#ifndef PATH_LAB_H
#define PATH_LAB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handoff.h"
#include "internal.h"
#include "memory.h"
#include "pool.h"

enum { LAB_CHUNKS = 1024, LAB_CHUNK = 2048, LAB_SLOTS = 16, LAB_FRAME = 2048, LAB_ETH = 14, LAB_SPI = 0x1001 };
enum { LAB_OUTSIDE = 0, LAB_INSIDE = 1, LAB_SLOT_IN = 0, LAB_SLOT_OUT = 1 };

struct lab {
    struct xs_worker *w;
    struct xs_worker_conf conf;
    struct xs_counters counters;
};

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #what);                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

struct lab_case {
    const char *name;
    void (*run)(void);
};
/* Runs all cases, or the ones named on the command line. */
int lab_main(int argc, char **argv, const struct lab_case *cases, size_t count);

void lab_open(struct lab *lab, uint32_t index, uint32_t workers, uint32_t inside_mtu);
void lab_close(struct lab *lab);
void lab_neighbour(struct lab *lab, uint8_t port, const char *addr, uint16_t vlan);
void lab_routes(struct lab *lab);
void lab_policy(struct lab *lab, uint8_t protocol, uint16_t remote_port, uint32_t owner);
struct xs_sa_slot *lab_slot(struct lab *lab, uint32_t slot);

/* local 10.1.0.0/16, remote 10.2.0.0/16; a remote port narrows to that one */
struct xs_selector lab_selector(uint8_t protocol, uint16_t remote_port);
struct xs_addr lab_addr(const char *text);
/* An SA of child 0 between 10.9.0.1 (we) and 10.9.0.2. GCM-128, or with cbc AES-128 and HMAC-SHA2-256. */
struct xs_sa_conf lab_sa(uint8_t direction, bool cbc, bool esn);
void lab_install(struct lab *lab, struct xs_sa_conf *conf); /* with the lab's selector unless conf has its own */

/* One breath over one frame; what left by a port. */
void lab_put(struct lab *lab, uint8_t port, const uint8_t *frame, uint32_t len);
uint32_t lab_take(struct lab *lab, uint8_t port, uint8_t *frame);
uint64_t lab_count(const struct lab *lab, uint32_t verdict);
uint64_t lab_total(const struct lab *lab); /* frames that ended in any verdict */

/* --- packets ------------------------------------------------------------------------------------------------------ */
struct lab_ip {
    const char *src, *dst;
    uint8_t protocol, ttl, tos;
    uint16_t frag; /* flags and offset as on the wire */
    uint16_t sport, dport;
    uint32_t payload; /* bytes behind the ports */
};
uint32_t lab_ip_packet(uint8_t *out, const struct lab_ip *ip); /* a whole IPv4 packet, checksum right; its length */
uint32_t lab_frame(uint8_t *out, const uint8_t *packet, uint32_t len, uint16_t vlan); /* with Ethernet header to us */
uint16_t lab_sum(const uint8_t *bytes, uint32_t len,
                 uint32_t start); /* RFC 1071; 0 over a block that has a right one */

/* ESP by the book: text is what is encrypted, trailer included. Returns the length of ESP header to ICV. */
uint32_t lab_esp(uint8_t *out, const struct xs_sa_conf *conf, uint64_t seq, const uint8_t *text, uint32_t text_len);
uint32_t lab_trailer(uint8_t *text, uint32_t len, uint32_t block, uint8_t next); /* pads; new length */
/* Authenticates and decrypts ESP; text length, 0 = ICV wrong. */
uint32_t lab_esp_open(uint8_t *text, const struct xs_sa_conf *conf, uint64_t seq, const uint8_t *esp, uint32_t len);
/* A frame from the peer that carries the inner packet under conf. */
uint32_t lab_sealed(uint8_t *out, const struct xs_sa_conf *conf, uint64_t seq, const uint8_t *inner, uint32_t len,
                    uint8_t outer_tos);
uint32_t lab_outer(uint8_t *out, const struct xs_sa_conf *conf, const uint8_t *esp, uint32_t len, uint8_t tos);

#endif
