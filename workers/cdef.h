/* What Python may see of C: build.py preprocesses this file and hands the result to cffi. */
#include "conf.h"
#include "verdict.h"
