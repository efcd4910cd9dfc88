/* Names and help texts of the verdict lists in shared.h, for metrics and people. Names are as written there. */
#ifndef XS_VERDICT_H
#define XS_VERDICT_H

#include "shared.h"

uint32_t xs_bucket_of(uint32_t spi);
const char *xs_verdict_name(uint32_t verdict); /* as in shared.h; NULL past the end */
const char *xs_verdict_help(uint32_t verdict);
const char *xs_door_verdict_name(uint32_t verdict);
const char *xs_door_verdict_help(uint32_t verdict);

#endif
