src/net/include/net.h
