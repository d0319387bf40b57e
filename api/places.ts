/** Name of the place that is this cluster; no Peer can be called so, since it isn't a DNS label. */
export const HOME_PLACE = '@home';
