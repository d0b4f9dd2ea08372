src/util.h
