/* What control could ask wrongly, and what a shared file could say wrongly: refused with an errno before anything is
 * read or written beyond its end. */
#include <errno.h>

#include "path_host.h"

static void keys_longer_than_their_room(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, true, true);
    for (uint32_t len = 0; len < 256; len++) {
        conf.auth_key_len = (uint8_t)len;
        bool right = len == 32; /* RFC 4868 sec. 2.1.1: as long as the hash's output, no other */
        CHECK(xs_sa_install(lab.w, &conf) == (right ? 0 : -EINVAL));
        CHECK(!right || xs_sa_remove(lab.w, conf.slot) == 0);
    }
    conf = lab_sa(XS_INBOUND, false, true);
    for (uint32_t len = 0; len < 256; len++) {
        conf.key_len = (uint8_t)len;
        bool right = len == 20 || len == 28 || len == 36;
        CHECK((xs_sa_install(lab.w, &conf) == 0) == right);
        CHECK(!right || xs_sa_remove(lab.w, conf.slot) == 0);
    }
    lab_close(&lab);
}

static void numbers_out_of_range(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    static const uint32_t children[] = {UINT32_MAX, UINT32_MAX - 64, UINT32_MAX - 128, 1U << 30, 1U << 20};
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    for (uint32_t i = 0; i < 5; i++) {
        conf.child = children[i];
        CHECK(xs_sa_install(lab.w, &conf) == -EINVAL && xs_sa_use(lab.w, children[i], conf.slot) < 0);
    }
    conf.child = 0;
    conf.direction = 2;
    CHECK(xs_sa_install(lab.w, &conf) == -EINVAL);
    conf.direction = XS_OUTBOUND;
    conf.df = 3;
    CHECK(xs_sa_install(lab.w, &conf) == -EINVAL);
    conf.df = XS_DF_COPY;
    conf.dscp = 64;
    CHECK(xs_sa_install(lab.w, &conf) == -EINVAL);
    conf.dscp = 63;
    conf.path_mtu = 65536;
    CHECK(xs_sa_install(lab.w, &conf) == -EINVAL);
    conf.path_mtu = 1500;
    conf.selector_count = 17;
    CHECK(xs_sa_install(lab.w, &conf) == -EINVAL);
    conf.selector_count = 0;
    CHECK(xs_sa_install(lab.w, &conf) == 0);
    CHECK(xs_sa_use(lab.w, 1, conf.slot) == -ENOENT && xs_sa_use(lab.w, 0, LAB_SLOTS) == -ENOENT);
    CHECK(xs_sa_remove(lab.w, UINT32_MAX) == -ENOENT && xs_sa_grant(lab.w, UINT32_MAX, 1) == -ENOENT);
    lab_close(&lab);
}

/* The header of sa_state is memory that other processes can write: how many slots there are says the file's size. */
static void regions_too_small(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_worker_conf conf = lab.conf;
    struct xs_sa_conf sa = lab_sa(XS_OUTBOUND, false, true);
    memset(lab.conf.state, 0xff, sizeof(struct xs_state_header));
    struct xs_worker *w = xs_worker_new(&conf);
    sa.slot = LAB_SLOTS;
    CHECK(w && xs_sa_install(w, &sa) == -EINVAL);
    sa.slot--;
    CHECK(xs_sa_install(w, &sa) == 0 && lab_slot(&lab, LAB_SLOTS - 1)->next_seq == 1);
    xs_worker_free(w);
    conf.state_size = sizeof(struct xs_state_header) - 1;
    CHECK(!xs_worker_new(&conf));
    conf.state_size = lab.conf.state_size;
    conf.chunk_size = 3000;
    CHECK(!xs_worker_new(&conf));
    conf.chunk_size = LAB_CHUNK;
    conf.index = conf.workers;
    CHECK(!xs_worker_new(&conf));
    conf.index = 0;
    conf.burst = XS_BURST_MAX + 1;
    CHECK(!xs_worker_new(&conf));
    conf.burst = 64;
    conf.hold = XS_HELD_MAX + 1;
    CHECK(!xs_worker_new(&conf));
    lab_close(&lab);
}

static void ports(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_port_conf port = {.index = XS_MAX_PORTS, .kind = XS_PORT_MEMORY};
    struct xs_queue_conf queue = {.port = LAB_INSIDE};
    CHECK(xs_worker_add_port(lab.w, &port) == -EINVAL);
    port.index = LAB_INSIDE;
    CHECK(xs_worker_add_port(lab.w, &port) == -EINVAL);
    CHECK(xs_worker_add_queue(lab.w, &queue) == -EINVAL);
    queue.port = 200;
    CHECK(xs_worker_add_queue(lab.w, &queue) == -EINVAL);
    CHECK(xs_memory_put(lab.w, 200, (const uint8_t *)"", 0) == -EINVAL);
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"keys_longer_than_their_room", keys_longer_than_their_room},
        {"numbers_out_of_range", numbers_out_of_range},
        {"regions_too_small", regions_too_small},
        {"ports", ports},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
