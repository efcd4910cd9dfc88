/* Reads the files of tests/vectors/data: blocks of "key = hex" lines, apart by blank lines, # for comments. Digits of a
 * value that is no hex stay what they are for whoever asks by text. */
#ifndef VECTOR_FILE_H
#define VECTOR_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { VECTOR_FIELDS = 12, VECTOR_LINE = 1024 };

struct vector_case {
    uint32_t count;
    char name[VECTOR_FIELDS][16];
    char value[VECTOR_FIELDS][VECTOR_LINE];
};

/* The next block; false at the end of the file. */
static inline bool vector_next(FILE *file, struct vector_case *c)
{
    char line[VECTOR_LINE];
    c->count = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#')
            continue;
        if (!line[0] && c->count)
            return true;
        char *equals = strstr(line, " =");
        if (!equals || c->count == VECTOR_FIELDS)
            continue;
        *equals = 0;
        snprintf(c->name[c->count], sizeof c->name[0], "%.15s", line);
        snprintf(c->value[c->count++], VECTOR_LINE, "%s", equals + 2 + (equals[2] == ' '));
    }
    return c->count > 0;
}

static inline const char *vector_text(const struct vector_case *c, const char *name)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (!strcmp(c->name[i], name))
            return c->value[i];
    fprintf(stderr, "no field %s\n", name);
    return "";
}

/* Bytes of a field; their number. */
static inline uint32_t vector_bytes(const struct vector_case *c, const char *name, uint8_t *out)
{
    const char *text = vector_text(c, name);
    uint32_t len = (uint32_t)strlen(text) / 2;
    for (uint32_t i = 0; i < len; i++) {
        unsigned byte = 0;
        sscanf(text + 2 * i, "%2x", &byte);
        out[i] = (uint8_t)byte;
    }
    return len;
}

#endif
