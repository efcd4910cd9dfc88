/* What Python may see of C: build.py preprocesses this file and hands the result to cffi. */
#include "conf.h"
#include "door.h"
#include "handoff.h"
#include "memory.h"
#include "pool.h"
#include "verdict.h"
#include "worker.h"
#include "xsk_open.h"
