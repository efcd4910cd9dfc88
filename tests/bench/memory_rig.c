/* See memory_rig.h. */
#include "memory_rig.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/mman.h>

#include "handoff.h"
#include "loop.h"
#include "memory.h"
#include "pool.h"
#include "sad.h"

enum { CHUNKS = 8192, SLOTS = 8, PATH_MTU = 1500, SPI = 0x1001 };

static const uint8_t SECRET[KEY + SALT] = "0123456789abcdefsalt"; /* KEY bytes, then SALT */

void *shared_region(uint64_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    MUST(at != MAP_FAILED);
    return at;
}

struct shared shared_new(uint32_t workers)
{
    struct shared s = {.workers = workers};
    s.state_size = sizeof(struct xs_state_header) + SLOTS * sizeof(struct xs_sa_slot);
    s.umem = shared_region((uint64_t)CHUNKS * CHUNK);
    s.pool = shared_region(xs_pool_size(CHUNKS));
    s.state = shared_region(s.state_size);
    s.counters = shared_region(workers * sizeof *s.counters);
    s.handoff = workers > 1 ? shared_region(xs_handoff_size(workers)) : NULL;
    MUST(xs_pool_format(s.pool, CHUNKS) == 0);
    *(struct xs_state_header *)s.state = (struct xs_state_header){.magic = XS_STATE_MAGIC,
                                                                  .version = XS_STATE_VERSION,
                                                                  .slots = SLOTS,
                                                                  .slot_size = sizeof(struct xs_sa_slot),
                                                                  .window_bits = XS_WINDOW_DEFAULT};
    return s;
}

static struct xs_addr addr(const char *text)
{
    struct xs_addr a = {.family = 4};
    MUST(inet_pton(AF_INET, text, a.bytes) == 1);
    return a;
}

static void add_port(struct rig *rig, uint8_t index, const char *own, const char *neighbour)
{
    struct xs_port_conf port = {.index = index, .role = index == OUTSIDE ? XS_ROLE_OUTSIDE : XS_ROLE_INSIDE};
    struct xs_neighbour n = {.addr = addr(neighbour), .port = index, .mac = {2, 0, 0, 0, 9, index}};
    port.kind = XS_PORT_MEMORY;
    port.mtu = PATH_MTU;
    port.addr4 = addr(own);
    port.mac[0] = 2, port.mac[5] = index;
    MUST(xs_worker_add_port(rig->w, &port) == 0 && xs_neighbour_set(rig->w, &n) == 0);
}

static void add_sa(struct rig *rig, const struct shared *s, uint32_t index)
{
    struct xs_selector selector = {.local = {addr("10.1.0.0"), 16},
                                   .remote = {addr("10.2.0.0"), 16},
                                   .local_port_hi = 65535,
                                   .remote_port_hi = 65535};
    struct xs_sa_conf c = {.spi = SPI,
                           .direction = rig->decrypt ? XS_INBOUND : XS_OUTBOUND,
                           .engine = XS_ENGINE_AUTO,
                           .cipher = XS_AES_GCM,
                           .key_len = KEY + SALT,
                           .icv_len = ICV,
                           .esn = 1,
                           .copy_dscp = 1,
                           .slot = index,
                           .replay_window = XS_WINDOW_DEFAULT,
                           .path_mtu = PATH_MTU,
                           .local = addr("10.9.0.1"),
                           .remote = addr("10.9.0.2"),
                           .selectors = &selector,
                           .selector_count = 1};
    memcpy(c.key, SECRET, sizeof SECRET);
    rig->slot = (struct xs_sa_slot *)((uint8_t *)s->state + sizeof(struct xs_state_header)) + index;
    *rig->slot = (struct xs_sa_slot){.spi = SPI, .direction = c.direction, .granted = UINT64_MAX};
    MUST(xs_sa_install(rig->w, &c) == 0);
    struct xs_policy policy = {.selector = selector, .owner = index};
    MUST(rig->decrypt || (xs_sa_use(rig->w, 0, index) == 0 && xs_policy_replace(rig->w, &policy, 1) == 0));
    struct xs_route routes[] = {{.prefix = {addr("10.9.0.0"), 24}, .port = OUTSIDE},
                                {.prefix = {addr("10.1.0.0"), 16}, .port = INSIDE},
                                {.prefix = {addr("10.2.0.0"), 16}, .via = addr("10.9.0.2"), .port = OUTSIDE}};
    MUST(xs_route_replace(rig->w, routes, 3) == 0);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value;
}

static void ip_header(uint8_t *ip, uint32_t len, uint8_t protocol, const char *src, const char *dst)
{
    struct xs_addr a = addr(src), b = addr(dst);
    uint32_t sum = 0;
    memset(ip, 0, IP);
    ip[0] = 0x45, ip[8] = 64, ip[9] = protocol;
    put16(ip + 2, len);
    memcpy(ip + 12, a.bytes, 4);
    memcpy(ip + 16, b.bytes, 4);
    for (uint32_t i = 0; i < IP; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)));
}

/* UDP over IPv4, size bytes in all. */
static void inner(uint8_t *ip, uint32_t size, const char *src, const char *dst)
{
    ip_header(ip, size, IPPROTO_UDP, src, dst);
    put16(ip + IP, 1000), put16(ip + IP + 2, 2000), put16(ip + IP + 4, size - IP), put16(ip + IP + 6, 0);
    for (uint32_t i = IP + UDP; i < size; i++)
        ip[i] = (uint8_t)(i * 7);
}

static void ethernet(uint8_t *frame, uint8_t port)
{
    memset(frame, 0, ETH);
    frame[0] = 2, frame[5] = port, frame[6] = 2, frame[10] = 9, frame[11] = port, frame[12] = 8;
}

static void trailer(uint8_t *text, uint32_t size, uint32_t text_len)
{
    uint32_t pad = text_len - size - 2;
    for (uint32_t i = 0; i < pad; i++)
        text[size + i] = (uint8_t)(i + 1);
    text[text_len - 2] = (uint8_t)pad;
    text[text_len - 1] = 4;
}

/* The frame as it arrives, and the bare call's arguments for it once it stands in its chunk. */
static void make_item(struct rig *rig, uint32_t at, uint8_t *master)
{
    struct item *item = &rig->items[at];
    struct xs_frame *frame = &rig->frames[at];
    const uint32_t number = at + 1;
    const uint8_t aad[AAD] = {0, 0, SPI >> 8, SPI & 255, 0, 0, 0, 0, 0, 0, number >> 8 & 255, number & 255};
    uint32_t front = rig->decrypt ? ETH + IP + ESP + IV : ETH;
    memcpy(item->aad, aad, AAD);
    memcpy(item->nonce, SECRET + KEY, SALT);
    memcpy(item->nonce + SALT, aad + 4, IV);
    item->master = master;
    item->data = frame->data;
    item->text = frame->data + front;
    item->icv = item->text + rig->text_len;
    ethernet(master, rig->in);
    if (!rig->decrypt) {
        inner(master + front, rig->size, "10.1.0.5", "10.2.0.9");
        frame->len = ETH + rig->size;
        memcpy(frame->data, master, frame->len);
        return;
    }
    struct gcm_context_data ctx;
    uint8_t *text = master + front;
    frame->len = front + rig->text_len + ICV;
    ip_header(master + ETH, frame->len - ETH, IPPROTO_ESP, "10.9.0.2", "10.9.0.1");
    memcpy(master + ETH + IP, aad, 4);
    memcpy(master + ETH + IP + 4, aad + 8, 4);
    memcpy(master + ETH + IP + ESP, aad + 4, IV);
    inner(text, rig->size, "10.2.0.9", "10.1.0.5");
    trailer(text, rig->size, rig->text_len);
    IMB_AES128_GCM_ENC(rig->mgr, rig->key, &ctx, text, text, rig->text_len, item->nonce, item->aad, AAD,
                       text + rig->text_len, ICV);
}

void rig_open(struct rig *rig, const struct shared *s, uint32_t index, bool decrypt, uint32_t size)
{
    struct xs_worker_conf conf = {.index = index,
                                  .workers = s->workers,
                                  .umem = s->umem,
                                  .chunk_size = CHUNK,
                                  .umem_size = (uint64_t)CHUNKS * CHUNK,
                                  .pool = s->pool,
                                  .state = s->state,
                                  .state_size = s->state_size,
                                  .counters = &s->counters[index],
                                  .handoff = s->handoff,
                                  .burst = BURST};
    memset(rig, 0, sizeof *rig);
    rig->decrypt = decrypt;
    rig->size = size;
    rig->text_len = (size + 2 + 3) / 4 * 4; /* RFC 4303 sec. 2.4 */
    rig->in = decrypt ? OUTSIDE : INSIDE;
    rig->out = decrypt ? INSIDE : OUTSIDE;
    rig->counters = &s->counters[index];
    MUST((rig->w = xs_worker_new(&conf)));
    add_port(rig, OUTSIDE, "10.9.0.1", "10.9.0.2");
    add_port(rig, INSIDE, "10.1.0.1", "10.1.0.5");
    MUST(xs_worker_start(rig->w) == 0);
    add_sa(rig, s, index);
    MUST((rig->mgr = alloc_mb_mgr(0)) && (rig->key = aligned_alloc(64, (sizeof *rig->key + 63) / 64 * 64)));
    init_mb_mgr_auto(rig->mgr, NULL);
    IMB_AES128_GCM_PRE(rig->mgr, SECRET, rig->key);
    uint32_t chunks[FRAMES];
    uint8_t *masters = aligned_alloc(64, FRAMES * CHUNK);
    MUST(masters && xs_pool_take(s->pool, CHUNKS, index, chunks, FRAMES) == FRAMES);
    for (uint32_t i = 0; i < FRAMES; i++) {
        rig->frames[i] = (struct xs_frame){.chunk = chunks[i], .port = rig->in};
        rig->frames[i].data = xs_chunk_base(rig->w, chunks[i]) + HEADROOM;
        make_item(rig, i, masters + (uint64_t)i * CHUNK);
    }
    rig->refill = decrypt ? rig->frames[0].len : PLAIN_HEADERS;
}
