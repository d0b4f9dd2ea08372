# Writes HEADER with the SHA-256 and the size of PROGRAM.
file(SHA256 ${PROGRAM} digest)
file(SIZE ${PROGRAM} size)
file(WRITE ${HEADER}.new "#define ATP_AGENT_SHA256 \"${digest}\"\n#define ATP_AGENT_SIZE ${size}u\n")
file(COPY_FILE ${HEADER}.new ${HEADER} ONLY_IF_DIFFERENT)
file(REMOVE ${HEADER}.new)
