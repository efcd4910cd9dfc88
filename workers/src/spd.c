/* Ordered policies and the flow cache in front of them (RFC 4301 sec. 4.4.1; the cache is its SPD-O cache). */
#include "spd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "sad.h"

struct xs_policy_row {
    struct xs_match match;
    uint32_t child, owner;
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

/* The policies, then so many `others` but for those of `child`. */
static int change(struct xs_worker *w, const struct xs_policy *policies, uint32_t count,
                  const struct xs_policy_row *others, uint32_t other_count, uint32_t child)
{
    struct xs_policy_row *rows = calloc((size_t)count + other_count + 1, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    struct xs_spd *spd = w->spd;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct xs_selector *s = &policies[i].selector;
        if (s->local.addr.family != 4 || s->remote.addr.family != 4 || s->local.bits > 32 || s->remote.bits > 32)
            continue; /* other families have no packets here: nothing is left open */
        struct xs_policy_row *row = &rows[kept++];
        xs_match_from(&row->match, s, false);
        row->child = policies[i].child;
        row->owner = policies[i].owner;
    }
    for (uint32_t i = 0; i < other_count; i++)
        if (others[i].child != child)
            rows[kept++] = others[i];
    spd->uses_ports = false;
    for (uint32_t i = 0; i < kept; i++)
        spd->uses_ports |= rows[i].match.ports;
    free(spd->rows);
    spd->rows = rows;
    spd->count = kept;
    spd->epoch++;
    xs_release_all(w);
    return 0;
}

int xs_policy_replace(struct xs_worker *w, const struct xs_policy *policies, uint32_t count)
{
    return change(w, policies, count, NULL, 0, 0);
}

int xs_policy_first(struct xs_worker *w, uint32_t child, const struct xs_policy *policies, uint32_t count)
{
    return change(w, policies, count, w->spd->rows, w->spd->count, child);
}

void xs_spd_scan(const struct xs_spd *spd, const struct xs_flow *f, struct xs_flow_entry *out)
{
    *out = (struct xs_flow_entry){.flow = *f, .epoch = spd->epoch, .result = XS_SPD_NONE};
    for (uint32_t i = 0; i < spd->count; i++) {
        const struct xs_policy_row *row = &spd->rows[i];
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
