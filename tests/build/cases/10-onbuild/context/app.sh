#!/bin/sh
echo "$STARTED $ROLE $(cat flavour)"
