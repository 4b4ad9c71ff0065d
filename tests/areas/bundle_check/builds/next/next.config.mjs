export default {
  distDir: process.env.SITE_DIST ?? ".next",
  productionBrowserSourceMaps: process.env.SITE_MAPS === "1",
};
