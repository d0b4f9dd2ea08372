src / net / net.c
