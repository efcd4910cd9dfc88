/* Names and help of verdicts, from the lists in shared.h, and the bucket hash for Python. */
#include "verdict.h"

#include <stddef.h>

struct xs_label {
    const char *name;
    const char *help;
};

#define XS_AS_LABEL(name, help) {#name, help},
static const struct xs_label worker_labels[XS_V_COUNT] = {XS_VERDICTS(XS_AS_LABEL)};
static const struct xs_label door_labels[XS_DOOR_COUNT] = {XS_DOOR_VERDICTS(XS_AS_LABEL)};

const char *xs_verdict_name(uint32_t verdict)
{
    return verdict < XS_V_COUNT ? worker_labels[verdict].name : NULL;
}

const char *xs_verdict_help(uint32_t verdict)
{
    return verdict < XS_V_COUNT ? worker_labels[verdict].help : NULL;
}

const char *xs_door_verdict_name(uint32_t verdict)
{
    return verdict < XS_DOOR_COUNT ? door_labels[verdict].name : NULL;
}

const char *xs_door_verdict_help(uint32_t verdict)
{
    return verdict < XS_DOOR_COUNT ? door_labels[verdict].help : NULL;
}

uint32_t xs_bucket_of(uint32_t spi)
{
    return xs_bucket(spi);
}
