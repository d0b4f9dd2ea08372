/*
 * Checks of single option values: by kind, and the further ones that docker makes while it parses (the check column of
 * the tables). All give docker's text without "invalid argument ...", which the parser puts in front.
 */
#ifndef ATP_DOCKER_OPT_VALUE_H
#define ATP_DOCKER_OPT_VALUE_H

#include "compat/docker/opt.h"

/* Checks value by the option's kind and check function. *ret_number is set for kinds that are numbers. */
int opt_value_check(const struct opt_def *def, const char *value, int64_t *ret_number, struct err *err);

opt_check_fn opt_check_add_host;
opt_check_fn opt_check_attach;
opt_check_fn opt_check_bps_device;
opt_check_fn opt_check_device_cgroup_rule;
opt_check_fn opt_check_dns;
opt_check_fn opt_check_dns_search;
opt_check_fn opt_check_env;
opt_check_fn opt_check_iops_device;
opt_check_fn opt_check_label;
opt_check_fn opt_check_link;
opt_check_fn opt_check_sysctl;
opt_check_fn opt_check_weight_device;
opt_check_fn opt_check_mount;
opt_check_fn opt_check_network;
opt_check_fn opt_check_ulimit;
opt_check_fn opt_check_gpus;

#endif
