src/core/include/core.h
