/* Ordered policies and the flow cache in front of them (RFC 4301 sec. 4.4.1; the cache is its SPD-O cache). */
#include "spd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "sad.h"

enum { FLOWS = 8192 };

struct row {
    struct xs_match match;
    uint32_t child, owner;
};

struct flow_entry {
    struct xs_flow flow;
    uint32_t epoch, child, owner;
    int result;
};

struct xs_spd {
    uint32_t epoch; /* 0 is never valid */
    bool uses_ports;
    struct row *rows;
    uint32_t count;
    struct flow_entry flows[FLOWS];
};

struct xs_spd *xs_spd_new(void)
{
    struct xs_spd *spd = calloc(1, sizeof *spd);
    if (spd)
        spd->epoch = 1;
    return spd;
}

void xs_spd_free(struct xs_spd *spd)
{
    if (spd)
        free(spd->rows);
    free(spd);
}

int xs_policy_replace(struct xs_worker *w, const struct xs_policy *policies, uint32_t count)
{
    struct row *rows = calloc(count ? count : 1, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    struct xs_spd *spd = w->spd;
    uint32_t kept = 0;
    spd->uses_ports = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct xs_selector *s = &policies[i].selector;
        if (s->local.addr.family != 4 || s->remote.addr.family != 4 || s->local.bits > 32 || s->remote.bits > 32)
            continue; /* other families have no packets here: nothing is left open */
        struct row *row = &rows[kept++];
        xs_match_from(&row->match, s, false);
        row->child = policies[i].child;
        row->owner = policies[i].owner;
        spd->uses_ports |= row->match.ports;
    }
    free(spd->rows);
    spd->rows = rows;
    spd->count = kept;
    spd->epoch++;
    return 0;
}

static void scan(const struct xs_spd *spd, const struct xs_flow *f, struct flow_entry *out)
{
    out->result = XS_SPD_NONE;
    for (uint32_t i = 0; i < spd->count; i++) {
        const struct row *row = &spd->rows[i];
        bool blind = f->fragment && row->match.ports;
        uint16_t src_port = blind ? row->match.src_lo : f->src_port, dst_port = blind ? row->match.dst_lo : f->dst_port;
        if (!xs_match_packet(&row->match, f->src, f->dst, f->protocol, src_port, dst_port))
            continue;
        out->result = blind ? XS_SPD_NEEDS_PORTS : 0;
        out->child = row->child;
        out->owner = row->owner;
        return;
    }
}

static uint32_t hash(const struct xs_flow *f)
{
    uint64_t h = ((uint64_t)f->src << 32 | f->dst) * 0x9E3779B97F4A7C15ULL;
    h ^= ((uint64_t)f->src_port << 24 | (uint64_t)f->dst_port << 8 | f->protocol) * 0xC2B2AE3D27D4EB4FULL;
    return (uint32_t)(h >> 40) % FLOWS;
}

int xs_spd_lookup(struct xs_spd *spd, const struct xs_flow *flow, uint32_t *child, uint32_t *owner)
{
    struct xs_flow key = *flow;
    if (!spd->uses_ports)
        key.src_port = key.dst_port = 0;
    struct flow_entry *e = &spd->flows[hash(&key)];
    if (e->epoch != spd->epoch || memcmp(&e->flow, &key, sizeof key) != 0) {
        scan(spd, &key, e);
        e->flow = key;
        e->epoch = spd->epoch;
    }
    *child = e->child;
    *owner = e->owner;
    return e->result;
}
