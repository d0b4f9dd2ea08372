#!/bin/sh
cat /modes
