<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Mako</title>
    ${request.progress.assets()}
  </head>
  <body>
    <h1>Mako</h1>
    ${request.progress.bar(progress_id)}
    <h2>All tasks</h2>
    ${request.progress.tasks()}
  </body>
</html>
