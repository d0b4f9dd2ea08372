src/net/net.c
