/* Private to stream_*.c: the numbers of the format. */
#ifndef ATP_SYNC_STREAM_IMPL_H
#define ATP_SYNC_STREAM_IMPL_H

#define STREAM_MAGIC       "ATPSYNC1"
#define STREAM_MAGIC_LEN   8
#define STREAM_VERSION     1
#define STREAM_BLOCK_HEAD  8
#define STREAM_RECORD_HEAD 5
#define STREAM_ZSTD_BIT    0x80000000u

enum stream_record {
    RECORD_BEGIN = 1,
    RECORD_OPS,
    RECORD_ANNOUNCED,
    RECORD_FILE,
    RECORD_DATA,
    RECORD_HOLE,
    RECORD_AGAIN,
    RECORD_GONE,
    RECORD_DONE,
    RECORD_END,
};

#endif
