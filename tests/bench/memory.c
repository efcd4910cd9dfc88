/* The worker's whole path against the bare call of the crypto library: same engine, same frames in the same chunks and
 * order, key expanded once, the same refill on both sides, in turns. */

/* bench-memory encrypt|decrypt SIZE WORKERS PACKETS ALTERNATIONS
 *
 * SIZE: bytes of the inner packet. PACKETS go through each side in all, over all workers (processes, one per core).
 * Prints one line of JSON: medians over the alternations of the CPU time per packet (and the first decile, which says
 * what the machine does when nobody disturbs it), packets lost, cycles per stage. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"
#include "memory_rig.h"

enum { ALTERNATIONS_MAX = 4096, WORKERS_MAX = 8, WARM_UP = 3 };

/* What the worker processes tell the first one. */
struct board {
    pthread_barrier_t turn;
    double ours[WORKERS_MAX][ALTERNATIONS_MAX], theirs[WORKERS_MAX][ALTERNATIONS_MAX]; /* ns a packet */
    uint64_t sent[WORKERS_MAX], lost[WORKERS_MAX];
};

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline void refill(const struct rig *rig, const struct item *items)
{
    for (uint32_t i = 0; i < BURST; i++) {
        if (rig->decrypt)
            memcpy(items[i].data, items[i].master, rig->refill);
        else
            memcpy(items[i].data, items[i].master, PLAIN_HEADERS); /* a length the compiler knows */
    }
}

static double theirs(const struct rig *rig, uint32_t bursts)
{
    struct gcm_context_data ctx;
    double start = cpu_ns();
    for (uint32_t b = 0; b < bursts; b++) {
        const struct item *items = &rig->items[b * BURST % FRAMES];
        refill(rig, items);
        for (uint32_t i = 0; i < BURST; i++) {
            const struct item *it = &items[i];
            if (rig->decrypt) {
                uint8_t icv[ICV];
                IMB_AES128_GCM_DEC(rig->mgr, rig->key, &ctx, it->text, it->text, rig->text_len, it->nonce, it->aad, AAD,
                                   icv, ICV);
            } else {
                IMB_AES128_GCM_ENC(rig->mgr, rig->key, &ctx, it->text, it->text, rig->text_len, it->nonce, it->aad, AAD,
                                   it->icv, ICV);
            }
        }
    }
    return (cpu_ns() - start) / ((double)bursts * BURST);
}

/* The sealed frames come round again: the window forgets them, as if the SA were new. */
static void forget(struct rig *rig)
{
    rig->slot->top = 0;
    memset(rig->slot->window, 0, sizeof rig->slot->window);
}

static double ours(struct rig *rig, uint32_t bursts, uint64_t *lost)
{
    struct xs_frame out[BURST];
    double start = cpu_ns();
    for (uint32_t b = 0; b < bursts; b++) {
        uint32_t first = b * BURST % FRAMES;
        if (rig->decrypt && first == 0)
            forget(rig);
        refill(rig, &rig->items[first]);
        MUST(xs_memory_offer(rig->w, rig->in, &rig->frames[first], BURST) == BURST);
        xs_worker_breathe(rig->w);
        *lost += BURST - xs_memory_collect(rig->w, rig->out, out, BURST);
    }
    return (cpu_ns() - start) / ((double)bursts * BURST);
}

static void pin(uint32_t index)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    MUST(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && index-- == 0)
            CPU_SET(cpu, &one);
    MUST(sched_setaffinity(0, sizeof one, &one) == 0); /* fails when there are fewer cores than workers */
}

static void work(struct board *board, struct rig *rig, uint32_t index, uint32_t alternations, uint32_t bursts)
{
    uint64_t unused = 0;
    for (uint32_t i = 0; i < WARM_UP; i++)
        theirs(rig, bursts), ours(rig, bursts, &unused);
    memset(rig->counters->cycles, 0, sizeof rig->counters->cycles);
    for (uint32_t a = 0; a < alternations; a++) {
        pthread_barrier_wait(&board->turn);
        board->theirs[index][a] = theirs(rig, bursts);
        pthread_barrier_wait(&board->turn);
        board->ours[index][a] = ours(rig, bursts, &board->lost[index]);
        board->sent[index] += (uint64_t)bursts * BURST;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The workers' mean of each alternation, sorted, in rows[0]. */
static void settle(double rows[WORKERS_MAX][ALTERNATIONS_MAX], uint32_t workers, uint32_t count)
{
    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t w = 1; w < workers; w++)
            rows[0][a] += rows[w][a];
        rows[0][a] /= workers;
    }
    qsort(rows[0], count, sizeof rows[0][0], ascending);
}

static double median(const double *sorted, uint32_t count)
{
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void print(struct board *board, const struct rig *rig, const struct shared *s, uint32_t alternations)
{
    static const char *stages[XS_STAGE_COUNT] = {"rx", "parse", "crypto", "finish", "tx"};
    double sent = 0, lost = 0;
    for (uint32_t i = 0; i < s->workers; i++)
        sent += (double)board->sent[i], lost += (double)board->lost[i];
    settle(board->ours, s->workers, alternations);
    settle(board->theirs, s->workers, alternations);
    printf("{\"name\": \"memory-%s\", \"size\": %u, \"workers\": %u, \"ours_ns\": %.2f, \"theirs_ns\": %.2f, ",
           rig->decrypt ? "decrypt" : "encrypt", rig->size, s->workers, median(board->ours[0], alternations),
           median(board->theirs[0], alternations));
    printf("\"ours_fast_ns\": %.2f, \"theirs_fast_ns\": %.2f, ", board->ours[0][alternations / 10],
           board->theirs[0][alternations / 10]);
    printf("\"loss\": %.0f, \"packets\": %.0f, \"cycles\": {", lost, sent);
    for (uint32_t i = 0; i < XS_STAGE_COUNT; i++)
        printf("%s\"%s\": %.1f", i ? ", " : "", stages[i], (double)rig->counters->cycles[i] / (double)board->sent[0]);
    printf("}}\n");
}

int main(int argc, char **argv)
{
    MUST(argc == 6);
    bool decrypt = !strcmp(argv[1], "decrypt");
    uint32_t size = (uint32_t)atoi(argv[2]), workers = (uint32_t)atoi(argv[3]), alternations = (uint32_t)atoi(argv[5]);
    uint64_t packets = strtoull(argv[4], NULL, 10);
    MUST((decrypt || !strcmp(argv[1], "encrypt")) && size >= IP + UDP && size <= 1438);
    MUST(workers >= 1 && workers <= WORKERS_MAX && alternations >= 1 && alternations <= ALTERNATIONS_MAX);
    uint64_t slice = (uint64_t)workers * alternations * BURST;
    uint32_t bursts = (uint32_t)((packets + slice - 1) / slice);
    struct shared shared = shared_new(workers);
    struct board *board = shared_region(sizeof *board);
    pthread_barrierattr_t attr;
    MUST(pthread_barrierattr_init(&attr) == 0 && pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
    MUST(pthread_barrier_init(&board->turn, &attr, workers) == 0);
    static struct rig rig;
    uint32_t index = 0;
    for (uint32_t i = 1; i < workers && index == 0; i++) {
        pid_t child = fork();
        MUST(child >= 0);
        if (child == 0)
            index = i;
    }
    pin(index);
    rig_open(&rig, &shared, index, decrypt, size);
    work(board, &rig, index, alternations, bursts);
    if (index)
        return 0;
    bool whole = true;
    for (int status; wait(&status) > 0;)
        whole &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
    MUST(whole);
    print(board, &rig, &shared, alternations);
    return 0;
}
